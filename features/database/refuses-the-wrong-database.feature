@database @critical @gate
Feature: A plan for another database stops before it changes anything

  The plan was written for staging and copied. It must notice that it is not connected to the database that it names,
  and refuse before its first step.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 40 journeys per second by 50 users

  Scenario: The plan refuses and changes nothing
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by the plan "wrong-database"
    Then the plan refuses because "database"
