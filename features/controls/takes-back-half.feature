@control @together @gate
Feature: Control: what takes a step back forgets an instance

  A step fails, and the plan takes back what it has done. What takes the code back reaches one instance alone, so that two
  releases serve.

  Background:
    Given the service "diner"
    And 40 journeys per second by 20 users

  Scenario: One instance stays where the plan had brought it
    When release "v2-tables" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "takes-back-half"
    Then the plan gives up and takes back what it did
    But the drill fails because "what a failed plan had done is taken back"
