@control @database @gate
Feature: Control: a rollback that leaves something behind

  The plan sets a limit for the role that migrates, which is good, and leaves it there, which is not.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: A setting of the role is left
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by the plan "leaves-a-setting"
    Then the drill fails because "nothing is left behind"
