@services @critical @gate
Feature: A plan asks for all that it needs before it begins

  v2-keeps-a-copy is good, and keeps a copy of the orders before it is deployed. Its plan asks whether the schema is the one that
  the old code knows, whether replicas follow, whether the copy is fresh, whether there is room, whether those who depend on the
  service can go along, and whether the old code can be fetched. One that was copied from another place finds nothing of that,
  and must not begin.

  Scenario: All is there, and the plan runs
    Given the service "shop" with 1000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users
    When release "v2-keeps-a-copy" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes

  Scenario: Nothing is there, and the plan refuses and changes nothing
    Given the service "shop" with 1000 orders
    And 30 journeys per second by 30 users
    When release "v2-keeps-a-copy" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by the plan "finds-nothing-there"
    Then the plan refuses because "revision"
    And the plan refuses because "lag"
    And the plan refuses because "backup"
    And the plan refuses because "space"
